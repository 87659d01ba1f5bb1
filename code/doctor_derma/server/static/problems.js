// Why a picture gets no answer, in the words that both engines share.

// A problem has a title and a detail in sentences, and says with `again` or `key` whether trying
// again or a key can help.
export function no(title, detail, help = {}) {
  return { problem: { title, detail, again: false, key: false, ...help } };
}

// Returns the problem of a file that can't be read, else null.
export async function unreadable(file) {
  const readable = await file.slice(0, 1).arrayBuffer().then(() => true, () => false);
  return readable ? null : no("This file can't be read.", "It is a folder, or has moved or changed; choose it again.");
}
