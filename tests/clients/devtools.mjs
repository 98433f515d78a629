// The DevTools protocol over a pair of pipes: JSON messages, each ended by a NUL. It needs no package, which its
// WebSocket would, for Node 20 has no client for that.

/** `call` answers with a method's result; `event` with the parameters of the first event to come that `matches`. */
export function newDevTools(toBrowser, fromBrowser) {
  const calls = new Map();
  const waiting = new Set();
  let lastId = 0;
  let rest = '';

  fromBrowser.setEncoding('utf8').on('data', (text) => {
    const messages = (rest + text).split('\0');
    rest = messages.pop();
    for (const { id, result, error, method, params } of messages.map(JSON.parse)) {
      if (id) {
        const { resolve, reject, called } = calls.get(id);
        calls.delete(id);
        if (error) reject(new Error(`${called}: ${error.message}`));
        else resolve(result);
      } else {
        for (const wait of waiting) {
          if (wait.method === method && wait.matches(params)) {
            waiting.delete(wait);
            wait.resolve(params);
          }
        }
      }
    }
  });
  // Whoever calls a browser that has ended is told so by its exit.
  toBrowser.on('error', () => {});
  fromBrowser.on('error', () => {});

  return {
    call(method, params = {}, sessionId = undefined) {
      lastId += 1;
      toBrowser.write(`${JSON.stringify({ id: lastId, method, params, sessionId })}\0`);
      return new Promise((resolve, reject) => calls.set(lastId, { resolve, reject, called: method }));
    },
    event(method, matches) {
      return new Promise((resolve) => waiting.add({ method, matches, resolve }));
    },
  };
}
