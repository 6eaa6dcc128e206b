// Reads [{ name, code, buffers }] from standard input, has Tint compile each as a compute shader, and prints
// { count, errors: [{ name, message }] }. Dawn's null back end needs no driver; it has no pipelines for shaders with more than
// WebGPU's default number of storage buffers, which it compiles all the same.
import { readFileSync } from "node:fs";
import { create, globals } from "webgpu";

Object.assign(globalThis, globals);
// Dawn is torn down when this object is collected, also under a pending call.
globalThis.gpu = create(["backend=null"]);

const adapter = await globalThis.gpu.requestAdapter();
const wanted = ["subgroups"].filter((feature) => adapter.features.has(feature));
const device = await adapter.requestDevice({ requiredFeatures: wanted });

const errors = [];
const shaders = JSON.parse(readFileSync(0, "utf8"));
for (const { name, code, buffers } of shaders) {
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code });
  const info = await module.getCompilationInfo();
  if (buffers <= device.limits.maxStorageBuffersPerShaderStage) {
    device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main" } });
  }
  const error = await device.popErrorScope();
  const messages = info.messages
    .filter((m) => m.type === "error")
    .map((m) => `${m.lineNum}:${m.linePos} ${m.message}`);
  if (error && messages.length === 0) messages.push(error.message);
  if (messages.length > 0) errors.push({ name, message: messages.join("; ") });
}
// The answer must be out before Dawn's threads are ended with the process.
process.stdout.write(JSON.stringify({ count: shaders.length, features: wanted, errors }) + "\n", () => process.exit(0));
