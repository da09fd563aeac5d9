import { expect, test } from "vitest";

import { secondsText } from "./seconds";

test.each([
  [0, "0.0 s"],
  [0.44, "0.4 s"],
  [9.94, "9.9 s"],
  [12.4, "12 s"],
  [59.6, "1 min 00 s"],
  [185, "3 min 05 s"],
])("%d seconds read as %s", (seconds, text) => {
  expect(secondsText(seconds)).toBe(text);
});
