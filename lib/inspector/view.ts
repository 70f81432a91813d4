import type { Sample } from './sampler.ts'
import { Changes } from './changes.ts'
import type { ChannelRow, Report, StreamRow } from './report.ts'
import { channelsOf, streamsOf } from './top-rows.ts'

/** What those see who look through the same filter: everything when they come, then what changed. */
export class View {
  readonly #filter: string
  readonly #streams = new Changes<StreamRow>()
  readonly #channels = new Changes<ChannelRow>()
  #whole: Report

  constructor (filter: string, reading: Sample) {
    this.#filter = filter
    this.#whole = this.#read(reading)
    this.change(reading)
  }

  /** For those who come. */
  get whole (): Report { return this.#whole }

  /** For those who have seen the one before. */
  change (reading: Sample): Report {
    const whole = this.#whole = this.#read(reading)
    const { streams, channels } = whole
    return {
      ...whole,
      whole: false,
      streams: { ...streams, ...this.#streams.since(streams.rows) },
      channels: { ...channels, ...this.#channels.since(channels.rows) }
    }
  }

  #read (reading: Sample): Report {
    const [streams, channels] = [streamsOf(reading, this.#filter), channelsOf(reading, this.#filter)]
    return {
      whole: true,
      at: reading.at,
      totals: reading.totals,
      streams: { ...streams, rows: [...streams.rows], gone: [] },
      channels: { ...channels, rows: [...channels.rows], gone: [] }
    }
  }
}
