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
  // Where a sentence tells a reading of now, it is the one that the values show.
  const readNow = (root) => {
    const shown = new Map();
    for (const value of document.querySelectorAll("[data-value]")) shown.set(value.dataset.value, value.dataset.text);
    for (const reading of root.querySelectorAll("[data-reads]")) {
      const text = shown.get(reading.dataset.reads);
      if (text && reading.textContent !== text) reading.textContent = text;
    }
  };
  document.body.addEventListener("htmx:afterSettle", () => readNow(document));
  // A part that says what it said before stays: it is not read out again, and whoever is in it stays there.
  document.body.addEventListener("htmx:oobBeforeSwap", (event) => {
    const fresh = event.detail.fragment.firstElementChild;
    readNow(event.detail.fragment);
    if (fresh && fresh.isEqualNode(event.detail.target)) event.detail.shouldSwap = false;
  });
  // Streams end with the session.
  document.body.addEventListener("htmx:sseClose", (event) => {
    if (event.detail.type === "message") location.reload();
  });
})();
