// A Modbus TCP server that shares no code with ours: npm's modbus-serial answers, Node's Buffer encodes.
// The first line of stdin describes the units (images.mjs) and names a free port: the package takes 0 for 502.
// Prints {"port"} when it listens; ends with stdin.
import { createInterface } from "node:readline";
import ModbusRTU from "modbus-serial";
import { load } from "./images.mjs";

const lines = createInterface({ input: process.stdin });
lines.once("line", (line) => {
  const asked = JSON.parse(line);
  const images = load(asked);
  const register = (addr, unit) => {
    const image = images.get(unit);
    if (!image) throw Object.assign(new Error("no such unit"), { modbusErrorCode: 11 });
    return image.get(addr) ?? 0;
  };
  const vector = { getHoldingRegister: register, getInputRegister: register };
  const server = new ModbusRTU.ServerTCP(vector, { host: "127.0.0.1", port: asked.port, unitID: 255 });
  server.on("initialized", () => console.log(JSON.stringify({ port: server._server.address().port })));
  const fail = (error) => { console.error(error); process.exit(1); };
  server.on("error", fail);
  server._server.on("error", fail);
});
lines.on("close", () => process.exit(0));
