export const markup = String.raw`<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>Inspector</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="inspector.css">
  <script type="module" src="inspector.js"></script>
</head>
<body>
  <header>
    <h1>Inspector</h1>
    <p id="state" role="status" data-state="connecting">Connecting</p>
    <button id="reconnect" type="button" hidden>Reconnect</button>
    <search><input id="filter" type="search" maxlength="100" autocomplete="off" spellcheck="false" placeholder="Filter: route, key, address, channel" aria-label="Filter streams by route, key, address or channel, and channels by name"></search>
  </header>

  <main>
    <noscript><p class="panel">This page needs JavaScript.</p></noscript>

    <dl id="figures" aria-label="Figures">
      <div data-figure="open"><dt>Open streams</dt><dd><b>–</b> <span></span></dd></div>
      <div data-figure="events"><dt>Events per second</dt><dd><b>–</b> <span></span></dd></div>
      <div data-figure="bytes"><dt>Bytes per second</dt><dd><b>–</b> <span></span></dd></div>
      <div data-figure="published"><dt>Published per second</dt><dd><b>–</b> <span></span></dd></div>
      <div data-figure="rejected"><dt>Rejected requests</dt><dd><b>–</b> <span></span></dd></div>
      <div data-figure="dropped"><dt>Events lost</dt><dd><b>–</b> <span></span></dd></div>
    </dl>

    <section class="panel" aria-labelledby="channels-title">
      <div class="title"><h2 id="channels-title">Channels</h2><p id="channels-count"></p></div>
      <div class="scroll" id="channels-list" tabindex="0" role="region" aria-labelledby="channels-title">
        <table id="channels"></table>
        <p class="empty" id="channels-empty" hidden></p>
      </div>
    </section>

    <section class="panel" aria-labelledby="tail-title">
      <div class="title"><h2 id="tail-title">Tail</h2><p id="tail-state" role="status"></p><button id="tail-stop" type="button" hidden>Stop</button></div>
      <div class="scroll" tabindex="0" role="region" aria-labelledby="tail-title">
        <ol id="tail"></ol>
        <p class="empty" id="tail-empty">Select a channel to see its events.</p>
      </div>
    </section>

    <section class="panel" aria-labelledby="latency-title">
      <div class="title"><h2 id="latency-title">Delivery</h2><p id="latency-summary"></p></div>
      <ol id="latency"></ol>
      <p class="note">Time from the arrival of an event in this process until it is written to all live subscribers, in milliseconds. Counted since the process started.</p>
    </section>

    <section class="panel" aria-labelledby="closed-title">
      <div class="title"><h2 id="closed-title">Closed streams</h2><p id="closed-count"></p></div>
      <dl id="closed"></dl>
    </section>

    <section class="panel wide" aria-labelledby="streams-title">
      <div class="title"><h2 id="streams-title">Open streams</h2><p id="streams-count"></p></div>
      <table id="streams"></table>
      <p class="empty" id="streams-empty" hidden></p>
    </section>
  </main>

  <p id="notice" role="status"></p>

  <dialog id="end-dialog" aria-labelledby="end-title">
    <form method="dialog">
      <h2 id="end-title">End this stream?</h2>
      <dl></dl>
      <label>Message to the client <input name="reason" maxlength="100" autocomplete="off" value="ended by an operator"></label>
      <p class="note">The client receives it in an error event with status 403. The client of this package then stops; an EventSource reconnects.</p>
      <p class="buttons"><button type="button" value="cancel" autofocus>Cancel</button> <button value="end" class="danger">End stream</button></p>
    </form>
  </dialog>
</body>
</html>
`
