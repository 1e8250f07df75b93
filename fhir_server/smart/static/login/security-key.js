// Asks the browser for a security key (WebAuthn). The only script of these pages; all else works without.
(() => {
  "use strict";
  const toBytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));
  const toText = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const named = (list) => (list || []).map((each) => ({ ...each, id: toBytes(each.id) }));

  const send = async (url, csrf, body) => {
    const headers = { "Content-Type": "application/json", "X-CSRF-Token": csrf };
    const answer = await fetch(url, { method: "POST", headers, credentials: "same-origin", body: JSON.stringify(body) });
    const value = await answer.json();
    if (!answer.ok) throw new Error(value.problem);
    return value;
  };

  const ask = (kind, options) => {
    const publicKey = { ...options, challenge: toBytes(options.challenge) };
    if (kind === "get") {
      publicKey.allowCredentials = named(options.allowCredentials);
      return navigator.credentials.get({ publicKey });
    }
    publicKey.user = { ...options.user, id: toBytes(options.user.id) };
    publicKey.excludeCredentials = named(options.excludeCredentials);
    return navigator.credentials.create({ publicKey });
  };

  const toJson = (credential) => {
    const response = {};
    for (const name of ["clientDataJSON", "authenticatorData", "signature", "userHandle", "attestationObject"]) {
      if (credential.response[name]) response[name] = toText(credential.response[name]);
    }
    return { id: credential.id, rawId: toText(credential.rawId), type: credential.type, response };
  };

  const run = async (button) => {
    const { securityKey, options, answer, csrf } = button.dataset;
    const credential = await ask(securityKey, await send(options, csrf, {}));
    const name = document.getElementById("key-name");
    const outcome = await send(answer, csrf, { ...toJson(credential), name: name ? name.value : "" });
    if (outcome.next) location.assign(outcome.next);
    else button.form.submit();
  };

  for (const button of document.querySelectorAll("[data-security-key]")) {
    const place = button.parentElement.querySelector(".outcome");
    button.addEventListener("click", async () => {
      button.disabled = true;
      place.textContent = "";
      try {
        await run(button);
      } catch (problem) {
        // What browsers say of a refused key is for developers; ours is for people.
        place.textContent = problem.name === "Error" && problem.message ? problem.message : button.dataset.problem;
        button.disabled = false;
      }
    });
  }
})();
