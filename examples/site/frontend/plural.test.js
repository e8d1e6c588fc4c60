import assert from "node:assert/strict";
import test from "node:test";

import { plural } from "./plural.js";

test("one is not many", () => {
  assert.equal(plural(1, "word"), "1 word");
  assert.equal(plural(2, "word"), "2 words");
});
