/** Small events, always ready: the same source for every contestant. `countTo(Infinity)` never ends. */
export async function * countTo (last) {
  for (let n = 1; n <= last; n++) yield { data: { status: 200, resMsg: `server sent event message: ${n}` } }
}
