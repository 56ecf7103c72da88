// Encodes the payloads below with npm sparkplug-payload and prints them as JSON: [{name, topic, hex}].
const { get } = require("sparkplug-payload");
const Long = require("long");
const spb = get("spBv1.0");
const T = 1764072000000; // 2025-11-25T12:00:00Z
const long = (text) => Long.fromString(text, true);

const birth = [
  { name: "bdSeq", type: "UInt64", value: 7 },
  { name: "Node Control/Rebirth", type: "Boolean", value: false },
];
const meters = [
  { name: "Energy", alias: 1, type: "Double", value: 123456.789, timestamp: T - 250 },
  { name: "Power", alias: 2, type: "Float", value: 12.3, timestamp: T },
  { name: "Int8", alias: 3, type: "Int8", value: -5 },
  { name: "Int16", alias: 4, type: "Int16", value: -300 },
  { name: "Int32", alias: 5, type: "Int32", value: -70000 },
  { name: "Int64", alias: 6, type: "Int64", value: Long.fromString("-5000000000") },
  { name: "UInt8", alias: 7, type: "UInt8", value: 255 },
  { name: "UInt16", alias: 8, type: "UInt16", value: 65535 },
  { name: "UInt32", alias: 9, type: "UInt32", value: 4294967295 },
  { name: "UInt64", alias: 10, type: "UInt64", value: long("18446744073709551615") },
  { name: "Running", alias: 11, type: "Boolean", value: true },
  { name: "Model", alias: 12, type: "String", value: "EM-3" },
  { name: "Since", alias: 13, type: "DateTime", value: T },
  { name: "Table", alias: 14, type: "DataSet", value: { numOfColumns: 1, types: ["Int32"], columns: ["a"], rows: [[1], [2]] } },
  { name: "Motor", alias: 15, type: "Template",
    value: { isDefinition: false, templateRef: "motor", metrics: [{ name: "rpm", type: "Int32", value: 1500 }], parameters: [] } },
  { name: "Blob", alias: 16, type: "Bytes", value: new Uint8Array([1, 2, 3]) },
];
const messages = {
  nbirth: ["NBIRTH/gw", { timestamp: T, seq: 0, metrics: birth }],
  dbirth: ["DBIRTH/gw/press", { timestamp: T, seq: 1, metrics: meters }],
  ddata_alias: ["DDATA/gw/press", { timestamp: T + 1000, seq: 2, metrics: [
    { alias: 1, type: "Double", value: 123457.25 }, { alias: 2, type: "Float", value: 0.1 }, { alias: 4, type: "Int16", value: -1 },
  ] }],
  ddata_null: ["DDATA/gw/press", { timestamp: T + 2000, seq: 3, metrics: [{ name: "Power", type: "Float", value: null, isNull: true }] }],
  ddata_historical: ["DDATA/gw/press", { timestamp: T + 3000, seq: 4, metrics: [
    { name: "Energy", type: "Double", value: 123400.5, timestamp: T - 3600000, isHistorical: true },
    { name: "Energy", type: "Double", value: 123458, timestamp: T + 3000 },
  ] }],
  ddata_bad_quality: ["DDATA/gw/press", { timestamp: T + 4000, seq: 5, metrics: [
    { name: "Power", type: "Float", value: 99, properties: { Quality: { type: "Int32", value: 0 } } },
    { name: "Energy", type: "Double", value: 123459, properties: { Quality: { type: "Int32", value: 192 } } },
  ] }],
  ndata: ["NDATA/gw", { timestamp: T + 5000, seq: 6, metrics: [{ name: "Incomer/Energy", type: "UInt32", value: 4000000 }] }],
  ddeath: ["DDEATH/gw/press", { timestamp: T + 6000, seq: 7, metrics: [] }],
  ndeath: ["NDEATH/gw", { timestamp: T, metrics: [{ name: "bdSeq", type: "UInt64", value: 7 }] }],
  ndeath_old: ["NDEATH/gw", { timestamp: T, metrics: [{ name: "bdSeq", type: "UInt64", value: 6 }] }],
};
const out = Object.entries(messages).map(([name, [place, payload]]) => ({
  name,
  topic: "spBv1.0/plant/" + place,
  hex: Buffer.from(spb.encodePayload(payload)).toString("hex"),
}));
console.log(JSON.stringify(out, null, 1));
