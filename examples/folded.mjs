// Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
// A reader of folded Wave Networks: new FoldedWave("waves-folded").predict("Stocks fell on Monday.")
// It needs `npm install @huggingface/tokenizers`; examples/docs/folded-format.md describes what it reads.
import { readFileSync } from "node:fs";
import { Tokenizer } from "@huggingface/tokenizers";

function fromFloat16(bits) {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  return (bits >> 15 ? -1 : 1) * (exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction);
}
const READERS = {
  F32: (bytes) => new Float32Array(bytes),
  F16: (bytes) => Float32Array.from(new Uint16Array(bytes), fromFloat16),
  I8: (bytes) => new Int8Array(bytes),
};

function readTensors(bytes) {
  const start = 8 + Number(new DataView(bytes).getBigUint64(0, true));
  const tensors = JSON.parse(new TextDecoder().decode(bytes.slice(8, start)));
  for (const [name, { dtype, data_offsets: [from, to] }] of Object.entries(tensors))
    tensors[name] = READERS[dtype]?.(bytes.slice(start + from, start + to));
  return tensors;
}

const linear = (weight, bias, x) =>
  bias.map((sum, row) => {
    for (let h = 0, i = row * x.length; h < x.length; h++, i++) sum += weight[i] * x[h];
    return sum;
  });

export class FoldedWave {
  constructor(folder) {
    const json = (name) => JSON.parse(readFileSync(`${folder}/${name}`, "utf8"));
    this.config = json("config.json");
    this.maxLength = json("tokenizer.json").truncation?.max_length;
    this.tokenizer = new Tokenizer(json("tokenizer.json"), {});
    this.weights = readTensors(new Uint8Array(readFileSync(`${folder}/model.safetensors`)).buffer);
    this.columns = this.weights["readout.weight"].length / this.config.hidden_size;
  }

  predict(text, pair = null) {
    const [logits, problem] = [[...this.logits(text, pair)], this.config.problem_type];
    if (problem === "regression") return logits;
    if (problem === "single_label_classification") return this.config.id2label[logits.indexOf(Math.max(...logits))];
    return Object.values(this.config.id2label).filter((_, label) => logits[label] > 0);
  }

  logits(text, pair = null) {
    const { ids, token_type_ids: types } = this.tokenizer.encode(text, { text_pair: pair, return_token_type_ids: true });
    if (ids.length > this.maxLength) throw new RangeError(`This reader does not truncate to ${this.maxLength} tokens.`);
    const tokens = ids.map((id, j) => ({ id, type: types[j] }));
    const sides = [tokens.filter(({ type }) => type !== 1), tokens.filter(({ type }) => type === 1)];
    const [first, second] = (this.config.pair_encoding === "separate" ? sides : [tokens]).map((side) => this.pool(side));
    const compare = () => [...first.map((a, h) => a * second[h]), ...first.map((a, h) => Math.abs(a - second[h]))];
    return linear(this.weights["classifier.weight"], this.weights["classifier.bias"], second ? compare() : first);
  }

  pool(tokens) {
    if (tokens.length === 0) return new Float32Array(this.config.hidden_size);
    const x = linear(this.weights["readout.weight"], this.weights["readout.bias"], this.meanWave(tokens));
    const variance = x.reduce((sum, v) => sum + v * v, 0) / x.length + this.config.layer_norm_eps;
    return x.map((v, h) => (v / Math.sqrt(variance)) * this.weights["norm.weight"][h] + this.weights["norm.bias"][h]);
  }

  meanWave(tokens) {
    const { hidden_size: width, wave_operation: operation, readout, scale_waves: isScaled } = this.config;
    const rows = tokens.map((_, j) => this.row(tokens, j));
    const [energy, mean] = [new Float64Array(2 * width), new Float64Array(this.columns)];
    for (const v of rows) for (let h = 0; h < 2 * width; h++) energy[h] += v[h] * v[h];
    const scale = energy.map((g2) => (isScaled && g2 > 0 ? Math.sqrt(rows.length / g2) : 1));
    for (const v of rows) {
      for (let h = 0, k = width; h < width; h++, k++) {
        const a = v[h] * scale[h];
        const b = Math.sqrt(Math.max(energy[h] - v[h] * v[h], 0)) * scale[h];
        const c = v[k] * scale[k];
        const d = Math.sqrt(Math.max(energy[k] - v[k] * v[k], 0)) * scale[k];
        const x = operation === "modulation" ? a * c - b * d : a + c;
        const y = operation === "modulation" ? a * d + b * c : b + d;
        mean[h] += (readout === "magnitude" ? Math.sqrt(x * x + y * y) : x) / rows.length;
        mean[k] += y / rows.length;
      }
      for (let h = 2 * width; h < this.columns; h++) mean[h] += v[h] / rows.length;
    }
    return mean;
  }

  row(tokens, j) {
    const { table, table_scales: scales, type_rows: typeRows, kernel } = this.weights;
    const [size, row] = [this.columns, new Float64Array(this.columns)];
    const taps = kernel ? kernel.length / size : 1;
    for (let tap = 0; tap < taps; tap++) {
      const token = tokens[j + tap - (taps - 1) / 2];
      for (let h = 0; token && h < size; h++) {
        const v = table[token.id * size + h] * (scales ? scales[token.id] : 1);
        row[h] += (v + (typeRows ? typeRows[token.type * size + h] : 0)) * (kernel ? kernel[tap * size + h] : 1);
      }
    }
    return row;
  }
}
