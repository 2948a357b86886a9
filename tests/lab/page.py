#!/usr/bin/env python3
"""The page in a real browser: what it shows, that it lives, that nothing of it comes from elsewhere; and what a hostile page can reach.

page.py STATS DNS PID [FOLDER]: a running tacenda by its stats endpoint, its DNS address and its process, over an upstream whose name is markup;
PID is ended on the way. Screenshots go into FOLDER. Needs chromedriver (Debian: chromium-driver). Everything is on loopback."""

import base64, contextlib, http.server, json, os, random, signal, socket, subprocess, sys, threading, time, urllib.request

STATS, DNS, PID = sys.argv[1], sys.argv[2], int(sys.argv[3])
FOLDER = sys.argv[4] if len(sys.argv) > 4 else None
PORT = int(STATS.rsplit(":", 1)[1])
PAGE = f"http://127.0.0.1:{PORT}/"
SECRET = "a-name-nobody-may-see"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Browser:
    """WebDriver, as far as it is needed."""

    def __init__(self):
        self.port = free_port()
        self.driver = subprocess.Popen(["chromedriver", f"--port={self.port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: self.ask("GET", "/status")["ready"], 20, "chromedriver starts")
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
                     # Rebinding: the names of strangers lead here, and no name is asked of anybody.
                     "--host-resolver-rules=MAP *.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"]
        options = {"args": arguments}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        self.session = "/session/" + self.ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {"content-type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def post(self, path, **body):
        return self.ask("POST", self.session + path, body)

    def open(self, url):
        self.post("/url", url=url)

    def run(self, script, *arguments):
        return self.post("/execute/sync", script=script, args=list(arguments))

    def run_async(self, script):
        """A script whose promise is waited for."""
        wrapped = f"const done = arguments[arguments.length - 1]; (async () => {{ {script} }})().then(done, (error) => done('error: ' + error));"
        return self.post("/execute/async", script=wrapped, args=[])

    def devtools(self, command, **parameters):
        return self.post("/goog/cdp/execute", cmd=command, params=parameters)

    def complaints(self):
        return [line["message"] for line in self.post("/se/log", type="browser")]

    def answered(self, prefix):
        """The status of each response since the last call that came from there, as it was on the wire."""
        events = [json.loads(line["message"])["message"] for line in self.post("/se/log", type="performance")]
        responses = [event["params"]["response"] for event in events if event["method"] == "Network.responseReceived"]
        return [response["status"] for response in responses if response["url"].startswith(prefix)]

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def press(self, key):
        keys = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self.post("/actions", actions=[{"type": "key", "id": "keys", "actions": keys}])

    def picture(self, name, dark, width):
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.devtools("Emulation.setEmulatedMedia", features=scheme)
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        wide = self.run("return document.documentElement.scrollWidth")
        check(wide <= width, f"nothing sticks out at {width} pixels, {wide} were needed")
        if FOLDER:
            shot = self.devtools("Page.captureScreenshot", format="png", captureBeyondViewport=True)
            with open(os.path.join(FOLDER, name + ".png"), "wb") as file:
                file.write(base64.b64decode(shot["data"]))

    def close(self):
        with contextlib.suppress(OSError):
            self.ask("DELETE", self.session)
        self.driver.terminate()
        self.driver.wait(10)


def check(is_so, what):
    if not is_so:
        sys.exit(f"FAILED: {what}")
    print(f"ok: {what}")


def until(is_so, seconds, what):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if is_so():
                return
        time.sleep(0.1)
    sys.exit(f"FAILED: {what}, not within {seconds} s")


def ask_names(count):
    """Questions for names that must be seen nowhere; each is answered."""
    host, port = DNS.rsplit(":", 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(6)
        one.connect((host, int(port)))
        for number in range(count):
            label = f"{SECRET}-{number % 40}".encode()
            name = bytes([len(label)]) + label + b"\x07example\x00"
            one.send(random.randbytes(2) + b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + name + b"\x00\x01\x00\x01")
            one.recv(4096)


def stats():
    with urllib.request.urlopen(PAGE + "stats", timeout=10) as answer:
        return json.load(answer)


def the_page(browser):
    ask_names(200)
    browser.open(PAGE)
    until(lambda: browser.run("return document.querySelectorAll('#parts li').length") >= 4, 10, "the parts of the promise are shown")
    said = stats()["protection"]
    check(browser.text("#headline") == said["text"], f"the headline is tacenda's own: {said['text']}")
    check(browser.run("return document.querySelector('#protection').dataset.state") == said["state"], "so is its colour")
    helps = browser.run("return [...document.querySelectorAll('#parts code')].map((code) => code.textContent)")
    check(helps == [part["help"] for part in said["parts"] if part["help"]], f"what to type is there: {helps}")
    name = stats()["upstreams"][0]["name"]
    check("<" in name and browser.text("#upstreams th") == name, "a name of markup is text")
    check(browser.run("return document.querySelectorAll('#upstreams img').length") == 0, "and makes no element")
    before = browser.text("#fill")
    check(not before.startswith("0 "), f"the cache is shown: {before}")
    until(lambda: browser.text("#questions") != "0" and browser.text("#events") != "", 25, "the last hour is shown")
    asked = int(browser.text("#questions").replace(",", ""))
    ask_names(100)
    until(lambda: int(browser.text("#questions").replace(",", "")) >= asked + 100, 25, "new questions are shown without a click")
    check(browser.run("return document.querySelectorAll('#time-chart rect').length") > 0, "the chart has bars")
    check(browser.run("return document.querySelectorAll('#latency-chart rect.hit').length") == 16, "and so has the other, one for each bucket")
    browser.run("document.querySelector('[data-span=\"60\"]').click()")
    check(browser.text("#time-from") == "10 min ago", "a click changes the span")
    browser.run("document.querySelector('[data-span=\"360\"]').focus()")
    browser.press("\ue007")
    check(browser.text("#time-from") == "60 min ago", "so does the keyboard")
    check(browser.run("return document.querySelector('[data-span=\"360\"]').getAttribute('aria-pressed')") == "true", "and says so")
    check(SECRET not in browser.run("return document.documentElement.outerHTML"), "no name is in it")
    sources = browser.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    check(sources and all(source.startswith(PAGE) for source in sources), f"all {len(sources)} parts and answers came from this address")
    for name, dark, width in (("light", False, 1100), ("dark", True, 1100), ("narrow", False, 360)):
        browser.picture(name, dark, width)
    check(browser.complaints() == [], "the browser complains of nothing")
    # The control: what the policy forbids is forbidden indeed, and told.
    browser.run("const evil = document.createElement('script'); evil.textContent = 'window.ran = 1'; document.head.append(evil)")
    check(browser.run("return window.ran") is None, "a script in line does not run")
    check(any("Content Security Policy" in line for line in browser.complaints()), "and the browser says why")


HOSTILE = """<!doctype html><title>hostile</title><iframe src="%(target)sstats"></iframe>
<form id=form method=post target=sink action="%(target)sstats"><input name=x value=y></form><iframe name=sink></iframe>"""


class Server(http.server.BaseHTTPRequestHandler):
    """The hostile page, which attacks the target behind `?`; and one that guards nothing, to be the control."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write((HOSTILE % {"target": self.path.partition("?")[2]}).encode())

    do_POST = do_OPTIONS = do_GET

    def log_message(self, *_):
        pass


def attack(browser, hostile, target):
    """Everything that a page of another origin can do to reach what is at `target`; gives what came back on the wire."""
    browser.open(hostile + "?" + target)
    check(browser.run("return document.title") == "hostile", f"the hostile page is there, under a name that leads to this host, for {target}")
    browser.answered(target)
    for how in ("{}", "{mode: 'no-cors'}", "{method: 'POST', body: 'x', mode: 'no-cors'}", "{headers: {'x-a': 'b'}}"):
        for path in ("stats", "history", "metrics", ""):
            read = browser.run_async(f"return await (await fetch('{target}{path}', {how})).text()")
            check(read == "" or read.startswith("error: "), f"fetch of /{path} with {how} reads nothing")
    for tag, attribute in (("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("object", "data")):
        browser.run_async(
            f"return await new Promise((done) => {{ const one = document.createElement('{tag}'); one.rel = 'stylesheet'; one.onload = one.onerror = () => done('');"
            f" one.{attribute} = '{target}page.js'; document.body.append(one); setTimeout(() => done(''), 1000); }})")
    browser.run("document.getElementById('form').submit()")
    time.sleep(1)
    return browser.answered(target)


def a_hostile_page(browser):
    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    hostile = f"http://evil.example:{servers[0].server_port}/"
    control = attack(browser, hostile, f"http://127.0.0.1:{servers[1].server_port}/")
    check(len(control) >= 12 and set(control) == {200}, f"who guards nothing is reached in {len(control)} ways")
    guarded = attack(browser, hostile, PAGE)
    check(len(guarded) >= 12 and set(guarded) == {403}, f"tacenda refuses all of {len(guarded)}: {sorted(set(guarded))}")
    # Rebinding: the stranger's name leads to tacenda itself, so that the browser takes it for the same origin.
    browser.open(f"http://evil.example:{PORT}/stats")
    shown = browser.run("return document.documentElement.innerText")
    check("127.0.0.1 or http://localhost" in shown and "hit_ratio" not in shown, f"under a stranger's name it says where it is and no more: {shown!r}")
    read = browser.run_async("const answer = await fetch('/stats'); return answer.status + ' ' + await answer.text()")
    check(read.startswith("421 ") and "hit_ratio" not in read, f"a page under that name reads nothing: {read!r}")
    check(stats()["queries"]["total"] > 0 and stats()["config"]["reloads"] == 0, "nothing of tacenda's has changed")
    for server in servers:
        server.shutdown()


def it_is_gone_and_says_so(browser):
    browser.open(PAGE)
    until(lambda: browser.run("return document.querySelectorAll('#parts li').length") >= 4, 10, "the page is there again")
    os.kill(PID, signal.SIGTERM)
    until(lambda: browser.text("#headline") == "tacenda does not answer", 15, "it says that tacenda is gone")


browser = Browser()
try:
    the_page(browser)
    a_hostile_page(browser)
    it_is_gone_and_says_so(browser)
finally:
    browser.close()
print("all of it holds")
