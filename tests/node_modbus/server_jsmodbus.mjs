// A second Modbus TCP server that shares no code with ours nor with the first: npm's jsmodbus answers, Node's Buffer encodes.
// The first line of stdin describes the units (images.mjs). jsmodbus serves one register image whatever the unit, so each
// unit gets a port of its own. Prints {"ports": {unit: port}} when all listen; ends with stdin.
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import modbus from "jsmodbus";
import { load } from "./images.mjs";

function listen(image) {
  const registers = Buffer.alloc(2 * 65536);
  for (const [addr, word] of image) registers.writeUInt16BE(word, 2 * addr);
  const socket = createServer();
  new modbus.server.TCP(socket, { holding: registers, input: registers });
  return new Promise((resolve) => socket.listen(0, "127.0.0.1", () => resolve(socket.address().port)));
}

const lines = createInterface({ input: process.stdin });
lines.once("line", async (line) => {
  const ports = {};
  for (const [unit, image] of load(JSON.parse(line))) ports[unit] = await listen(image);
  console.log(JSON.stringify({ ports }));
});
lines.on("close", () => process.exit(0));
