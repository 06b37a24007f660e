"use strict";
// Asks for this page again and puts its main part in the place of the old one, so that nobody loses
// the place that they have scrolled to. What comes was escaped by the server; as a parsed document
// it runs no script, and the page's policy allows none.
const EVERY = 1000;
const HIDDEN = 15000;

async function follow() {
  try {
    const answer = await fetch(location.pathname, { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelector("main").replaceWith(page.querySelector("main"));
    document.body.classList.remove("stale");
  } catch {
    // Its speaker is gone, or has too much to do: what is shown is old.
    document.body.classList.add("stale");
  }
  setTimeout(follow, document.hidden ? HIDDEN : EVERY);
}

setTimeout(follow, EVERY);
