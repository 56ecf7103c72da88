// A Modbus TCP server that shares no code with ours: npm's modbus-serial answers, Node's Buffer encodes.
// The first line of stdin is {"units": {"7": [{"addr", "type", "order", "value"} …]}}; value is a number or a decimal
// string, or raw hex as {"hex"}. Prints {"port"} when it listens; a register nobody named is 0; ends with stdin.
import { createInterface } from "node:readline";
import ModbusRTU from "modbus-serial";

const WRITE = {
  u16: (b, v) => b.writeUInt16BE(v), i16: (b, v) => b.writeInt16BE(v),
  u32: (b, v) => b.writeUInt32BE(v), i32: (b, v) => b.writeInt32BE(v),
  u64: (b, v) => b.writeBigUInt64BE(BigInt(v)), i64: (b, v) => b.writeBigInt64BE(BigInt(v)),
  f32: (b, v) => b.writeFloatBE(v), f64: (b, v) => b.writeDoubleBE(v),
};

function encode({ type, order, value }) {
  const digits = /^bcd(\d+)/.exec(type);
  let bytes;
  if (typeof value === "object") bytes = Buffer.from(value.hex, "hex");
  else if (digits) bytes = Buffer.from(String(value).padStart(Number(digits[1]), "0"), "hex");
  else WRITE[type]((bytes = Buffer.alloc(Number(type.slice(1)) / 8)), value);
  const words = [];
  for (let i = 0; i < bytes.length; i += 2) words.push(bytes.readUInt16BE(i));
  return order === "little" ? words.reverse() : words;
}

function load({ units }) {
  const images = new Map();
  for (const [unit, points] of Object.entries(units)) {
    const image = new Map();
    for (const point of points) encode(point).forEach((word, i) => image.set(point.addr + i, word));
    images.set(Number(unit), image);
  }
  return images;
}

const lines = createInterface({ input: process.stdin });
lines.once("line", (line) => {
  const images = load(JSON.parse(line));
  const register = (addr, unit) => {
    const image = images.get(unit);
    if (!image) throw Object.assign(new Error("no such unit"), { modbusErrorCode: 11 });
    return image.get(addr) ?? 0;
  };
  const vector = { getHoldingRegister: register, getInputRegister: register };
  const server = new ModbusRTU.ServerTCP(vector, { host: "127.0.0.1", port: 0, unitID: 255 });
  server.on("initialized", () => console.log(JSON.stringify({ port: server._server.address().port })));
  server.on("error", (error) => { console.error(error); process.exit(1); });
});
lines.on("close", () => process.exit(0));
