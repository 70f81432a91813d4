// Answers the requests of the load generator over IPC.
const always = {
  /** Microseconds of all threads of this process, in user space and kernel, as measured by the operating system. */
  cpu: () => process.cpuUsage(),
  /** Bytes in use after a full collection. `external` are buffers, which the heap does not include. */
  memory () {
    globalThis.gc()
    const { heapUsed, external, rss } = process.memoryUsage()
    return { heap: heapUsed + external, rss }
  },
  // Loaded on demand: else the inspector would be part of each measurement.
  profile: async () => (await import('./profile.js')).start(),
  profiled: async () => (await import('./profile.js')).stop()
}

/** Sends the port of the server, answers requests, and ends the process when the load generator exits. */
export function report (port, own = {}) {
  const answers = { ...always, ...own }
  process.on('message', async ([question, ...details]) => process.send(await answers[question](...details) ?? null))
  process.once('disconnect', () => process.exit())
  process.send(port)
}
