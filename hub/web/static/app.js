// Small things that every page shares. Pages work without this file.
(() => {
  "use strict";
  // A menu closes when somebody goes elsewhere, by key or by pointer.
  const menu = document.querySelector("details.account");
  if (menu) {
    document.addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false; });
    menu.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && menu.open) { menu.open = false; menu.querySelector("summary").focus(); }
    });
  }
  // A fragment that may no longer be fetched sends people to the form to sign in.
  document.body.addEventListener("htmx:responseError", (event) => {
    if (event.detail.xhr.status === 401) location.reload();
  });
  // Streams end with the session.
  document.body.addEventListener("htmx:sseClose", (event) => {
    if (event.detail.type === "message") location.reload();
  });
})();
