'use strict';
// Uses the page as a person would, and says what it found wrong.
(async () => {
  const frame = () => new Promise((done) => { setTimeout(done, 30); });
  const press = (key, more = {}) => window.dispatchEvent(new KeyboardEvent('keydown', { key, ...more }));
  const expect = (what, holds) => { if (!holds) wrong.push(what); };
  // A browser that shows its page to nobody paints when it likes, so what is to be seen is asked for.
  const painted = () => {
    drawAll();
    return canvas.toDataURL();
  };
  try {
    await frame();
    if (RUN.failure) {
      expect('the failure is chosen', chosen.line >= 0 && document.querySelector('#detail .what'));
      expect('the failure is in sight', view.from < failsAt() && failsAt() < view.to);
      expect('something led to it', document.querySelectorAll('#list li').length > 3);
    }
    document.getElementById('whole').click();
    await frame();
    expect('the whole run is in sight', view.from <= 0 && view.to >= RUN.end);
    const whole = painted();
    for (const key of ['+', '+', 'd', 'a', '-', 'ArrowRight', 'ArrowRight', 'ArrowLeft']) press(key);
    await frame();
    expect('zooming shows another picture', painted() !== whole);
    expect('stepping chooses an event', chosen.line >= 0);
    const before = view.to - view.from;
    canvas.dispatchEvent(new WheelEvent('wheel', { deltaY: -120, clientX: 500, clientY: 200, cancelable: true }));
    expect('the wheel zooms', view.to - view.from < before);
    const search = document.getElementById('search');
    search.value = 'leads term';
    search.dispatchEvent(new Event('input'));
    expect('the search finds leaders', chosen.found.length > 0);
    press('n');
    expect('what is found is chosen', textOf(chosen.line).includes('LEADS'));
    const [x, y] = spotOf(chosen.line);
    const near = hit(x, y);
    expect('what is clicked is what is there', near >= 0 && Math.abs(LINES.at[near] - LINES.at[chosen.line]) < 20 / scale());
    const events = canvas.getBoundingClientRect();
    canvas.dispatchEvent(new MouseEvent('click', { clientX: events.left + x, clientY: events.top + y }));
    for (const button of document.querySelectorAll('#filters button')) {
      button.click();
      await frame();
      button.click();
    }
    rememberInAddress();
    const { from } = view, { line } = chosen;
    ACTIONS.whole();
    goToAddress();
    expect('the address leads back', Math.abs(view.from - from) < 2 && chosen.line === line);
    press('f');
    await frame();
  } catch (error) {
    wrong.push(`${error} ${error.stack}`);
  }
  const said = document.createElement('pre');
  said.id = 'visited';
  const verdict = RUN.failure ? `fails ${RUN.failure.check}` : 'holds';
  said.textContent = wrong.length > 0 ? `WRONG: ${wrong.join('; ')}` : verdict;
  document.body.append(said);
})();
