// A session tracker on the package `ws`.
'use strict';
const http = require('node:http');
const { join, listen, tool } = require('./tracker.cjs');
const { WebSocketServer } = tool('ws');

const server = http.createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: false });

sockets.on('connection', (socket, request) => {
  const query = new URL(request.url, 'http://localhost').searchParams;
  const session = join(query.get('username'), query.get('pageId'), request);
  socket.on('message', (data) => session.messageCame(data.length));
  socket.on('pong', () => session.heard());
  socket.on('error', () => {});
  socket.on('close', () => session.leave());
});
setInterval(() => sockets.clients.forEach((socket) => socket.ping()), 15_000);

listen(server);
