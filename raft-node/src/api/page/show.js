
"use strict";
// Numbers and times as people read them, and putting them into the page as text.

const byId = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

function count(n) {
  return n == null ? "–" : whole.format(n);
}

function rate(n) {
  if (n == null) return "–";
  return (n > 0 && n < 10 ? n.toFixed(1) : whole.format(n)) + " /s";
}

function bytes(n) {
  if (n == null) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (n >= 1024 && at < units.length - 1) {
    n /= 1024;
    at += 1;
  }
  return (at === 0 || n >= 100 ? n.toFixed(0) : n.toFixed(1)) + " " + units[at];
}

function millis(n) {
  if (n == null) return "–";
  if (n >= 10000) return lasting(n);
  if (n >= 1000) return (n / 1000).toFixed(2) + " s";
  return (n >= 100 ? n.toFixed(0) : n >= 10 ? n.toFixed(1) : n.toFixed(2)) + " ms";
}

// A time span in milliseconds, in one or two units.
function lasting(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min " + (s % 60) + " s";
  if (s < 86400) return Math.floor(s / 3600) + " h " + (Math.floor(s / 60) % 60) + " min";
  return Math.floor(s / 86400) + " d " + (Math.floor(s / 3600) % 24) + " h";
}

// The time of day, with the date where it is another day.
function clock(ms) {
  const two = (n) => String(n).padStart(2, "0");
  const at = new Date(ms);
  const time = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");
  if (at.toDateString() === new Date().toDateString()) return time;
  return [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-") + " " + time;
}

// How long ago somebody was heard, in whole milliseconds.
function ago(ms) {
  if (ms == null) return "never";
  return (ms < 1000 ? ms + " ms" : ms < 10000 ? (ms / 1000).toFixed(1) + " s" : lasting(ms)) + " ago";
}

// "12:00:05 (7 s ago)".
function since(ms, now) {
  return clock(ms) + " (" + lasting(now - ms) + " ago)";
}

// Changes the page only where it differs, so that nothing flickers and selections stay.
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function setClass(element, name) {
  if (element.className !== name) element.className = name;
}

function make(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

// Gives `parent` as many children as there are items, and fills each.
function fillList(parent, items, create, fill) {
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  while (parent.children.length < items.length) parent.append(create());
  items.forEach((item, at) => fill(parent.children[at], item));
}

// Where the page of another member is; the scheme is the one of this page.
function link(element, address, text) {
  setText(element, text);
  const href = location.protocol + "//" + address + "/";
  if (element.getAttribute("href") !== href) element.setAttribute("href", href);
}
