// SPDX-License-Identifier: Apache-2.0
// Loaded before the tests by tools/tests.sh where node is Debian 12's 18: what later versions have built in. The SDK
// itself asks for the first one there.
import { File } from 'node:buffer';

globalThis.File ??= File;
const define = (on, name, value) => {
  if (!(name in on)) Object.defineProperty(on, name, { value, writable: true, configurable: true });
};
define(Array.prototype, 'toReversed', function () {
  return [...this].reverse();
});
define(Array.prototype, 'toSorted', function (compare) {
  return [...this].sort(compare);
});
// With the flag u a lone half is a character of its own, a pair is not two of them.
define(String.prototype, 'toWellFormed', function () {
  return String(this).replace(/\p{Surrogate}/gu, '\ufffd');
});
define(String.prototype, 'isWellFormed', function () {
  return !/\p{Surrogate}/u.test(String(this));
});
