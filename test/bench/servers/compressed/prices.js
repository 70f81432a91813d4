const SYMBOLS = ['XAU', 'XAG', 'XPT', 'XPD', 'WTI', 'BRN', 'NGA', 'COR', 'WHT', 'SOY', 'COF', 'SUG', 'COT', 'COC']

/** Returns the data of event `n`: 170 bytes of JSON, the same in each server and each run. */
export function price (n) {
  const random = Math.imul(n + 1, 2654435761) >>> 0
  return {
    symbol: SYMBOLS[random % SYMBOLS.length],
    price: (random % 1_000_003) / 100,
    change: ((random >>> 7) % 2_001 - 1_000) / 1_000,
    volume: (random >>> 3) % 100_000,
    currency: 'USD',
    exchange: 'ICE',
    at: new Date(1.7e12 + n * 137).toISOString(),
    status: 'open',
    seller: (random * 7919 % 2 ** 32).toString(36)
  }
}

/** Handles the commands of the load generator. */
export function publishing (server, publish) {
  const sockets = new Set()
  let gone = 0
  server.on('connection', socket => {
    sockets.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
      gone += socket.bytesWritten
    })
  })
  let n = 0
  return {
    /** Returns the bytes that were written to all connections. */
    written: () => [...sockets].reduce((sum, { bytesWritten }) => sum + bytesWritten, gone),

    /** Publishes that many events, one in each turn of the event loop. */
    async publish (events) {
      for (let event = 0; event < events; event++) {
        publish(++n, price(n))
        await new Promise(setImmediate)
      }
    }
  }
}
