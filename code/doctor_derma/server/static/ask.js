// What asking takes: the key that a server may want, and turns.

import { byId } from "./dom.js";

// The API key, where a server wants one: kept for this tab only, and never in an address.

const NAME = "derma-api-key";
let key = stored();

export function currentKey() {
  return key;
}

export function onKey(use) {
  byId("key").addEventListener("input", ({ target }) => target.setCustomValidity(""));
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const input = byId("key");
    const given = input.value.trim();
    // Headers hold no other characters, and no key does.
    if (!/^[\x21-\x7e]+$/.test(given)) {
      input.setCustomValidity("A key has only Latin letters, digits and signs, and no spaces.");
      input.reportValidity();
      return;
    }
    key = given;
    input.value = "";
    try {
      sessionStorage.setItem(NAME, key);
    } catch { /* Storage is turned off: the key lasts as long as the page. */ }
    use();
  });
}

function stored() {
  try {
    return sessionStorage.getItem(NAME);
  } catch {
    return null;
  }
}

// A few things at a time: many pictures should not pile up before a busy server.

const AT_ONCE = 2;

// work: async function of one item; returns what queues an item.
export function inTurn(work) {
  const waiting = [];
  let underWay = 0;

  async function next() {
    if (underWay === AT_ONCE || !waiting.length) return;
    underWay += 1;
    try {
      await work(waiting.shift());
    } finally {
      underWay -= 1;
      next();
    }
  }

  return (item) => {
    waiting.push(item);
    next();
  };
}
