// The npm package `ws`, as a test client: node node-ws.mjs ws://…

import { once } from 'node:events';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { letGo, printClosed, printReady, run } from './driver.mjs';
import { messages } from './messages.mjs';

// An import would look for node_modules beside this file; tests/run keeps it out of the source tree.
const { WebSocket } = createRequire(join(process.env.HEADCOUNT_TEST_TOOLS, 'node_modules', '/'))('ws');

run(async () => {
  const released = letGo();
  let userAgent;
  const ws = new WebSocket(process.argv[2], {
    finishRequest(request) {
      userAgent = request.getHeader('user-agent') ?? null; // of the request as it goes out
      request.end();
    },
  });

  let isReady = false;
  const closed = new Promise((resolve, reject) => {
    ws.on('error', reject);
    ws.on('close', (code) => (isReady ? resolve(code) : reject(new Error(`closed too early: ${code}`))));
  });
  const orClosed = (event) => Promise.race([event, closed]);

  await orClosed(once(ws, 'open'));
  for (const message of messages) ws.send(message);
  ws.ping(); // frames are answered in order: its pong says that the server has read all messages
  await orClosed(once(ws, 'pong'));
  isReady = true;
  printReady(userAgent);

  await orClosed(released);
  ws.close(1000); // does nothing if the server closed first
  printClosed(await closed);
});
