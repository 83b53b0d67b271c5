// The server of a rival, as its documentation starts it: keeps nothing on disk. Prints its port.
//
//   node serve.mjs yjs|gun
import { createServer } from "node:http";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const server = createServer((_, response) => response.end());

const servers = {
  yjs() {
    const { setupWSConnection } = require("y-websocket/bin/utils");
    const { Server } = require("ws");
    new Server({ server }).on("connection", setupWSConnection);
  },
  gun() {
    // What it logs goes to standard error: standard output is the port's.
    console.log = console.error;
    const Gun = require("gun");
    Gun({ web: server, radisk: false, localStorage: false, multicast: false });
  },
};

servers[process.argv[2]]();
server.listen(0, "127.0.0.1", () => process.stdout.write(`${server.address().port}\n`));
