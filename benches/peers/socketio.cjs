// A session tracker on socket.io, with no transport but WebSockets.
'use strict';
const http = require('node:http');
const { join, listen, tool } = require('./tracker.cjs');
const { Server } = tool('socket.io');

const server = http.createServer();
const io = new Server(server, { transports: ['websocket'], serveClient: false, pingInterval: 15_000 });

io.on('connection', (socket) => {
  const { username, pageId } = socket.handshake.query;
  const session = join(username, pageId, socket.request);
  socket.on('message', (text) => session.messageCame(text.length));
  socket.on('disconnect', () => session.leave());
});

listen(server);
