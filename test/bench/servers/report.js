// What the load generator asks over IPC.
const always = {
  /** Microseconds, as the operating system counts them for all threads of this process, in user space and kernel. */
  cpu () {
    const { user, system } = process.cpuUsage()
    return user + system
  },
  /** Bytes in use after a full collection. `external` holds buffers, which the heap does not count. */
  memory () {
    globalThis.gc()
    const { heapUsed, external, rss } = process.memoryUsage()
    return { heap: heapUsed + external, rss }
  }
}

/** Says where the server listens, answers from then on, and ends the process when the load generator is gone. */
export function report (port, own = {}) {
  const answers = { ...always, ...own }
  process.on('message', async ([question, ...details]) => process.send(await answers[question](...details) ?? null))
  process.once('disconnect', () => process.exit())
  process.send(port)
}
