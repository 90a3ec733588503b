// Passkeys: making one and signing in with one. Browsers that know none show no button, nor does the
// hub at another address than the one its passkeys belong to.
(() => {
  "use strict";
  if (!window.PublicKeyCredential || !PublicKeyCredential.parseCreationOptionsFromJSON) return;
  const ask = async (path, body) => {
    const answer = await fetch(`/api/v1${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Homeport-Request": "1" },
      body: body ? JSON.stringify(body) : null,
    });
    if (!answer.ok) throw new Error(String(answer.status));
    return answer.json();
  };
  const make = async (form) => {
    const { flow, options } = await ask("/me/passkeys/options");
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
    const made = await navigator.credentials.create({ publicKey });
    const name = form.elements.name.value.trim() || "Passkey";
    await ask("/me/passkeys", { flow, name, credential: made.toJSON() });
    location.reload();
  };
  const enter = async (form) => {
    const { flow, options } = await ask("/sessions/passkey/options");
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
    const shown = await navigator.credentials.get({ publicKey });
    await ask("/sessions/passkey", { flow, credential: shown.toJSON() });
    location.assign(form.dataset.next);
  };
  for (const form of document.querySelectorAll("form[data-passkey]")) {
    if (location.hostname !== form.dataset.site) {
      for (const hint of document.querySelectorAll("[data-elsewhere]")) hint.hidden = false;
      continue;
    }
    form.hidden = false;
    const error = form.querySelector("[data-error]");
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      error.hidden = true;
      try {
        await (form.dataset.passkey === "new" ? make : enter)(form);
      } catch {
        error.hidden = false;
      }
    });
  }
})();
