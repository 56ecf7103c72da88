// Register images from what a test describes, encoded by Node's Buffer: {"units": {"7": [{"addr", "type", "order", "value"} …]}};
// value is a number or a decimal string, or raw hex as {"hex"}. A register nobody named is 0.
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

export function load({ units }) {
  const images = new Map();
  for (const [unit, points] of Object.entries(units)) {
    const image = new Map();
    for (const point of points) encode(point).forEach((word, i) => image.set(point.addr + i, word));
    images.set(Number(unit), image);
  }
  return images;
}
