// A few things at a time: many pictures should not pile up before a busy server.

const AT_ONCE = 2;

// work: async function of one item that handles its own errors; returns what queues an item.
export function inTurn(work) {
  const waiting = [];
  let underWay = 0;

  async function next() {
    if (underWay === AT_ONCE || !waiting.length) return;
    underWay += 1;
    await work(waiting.shift());
    underWay -= 1;
    next();
  }

  return (item) => {
    waiting.push(item);
    next();
  };
}
