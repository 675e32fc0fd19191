"""URLs to try a gate with: hand-made tricky ones, generated ones without end, and ordinary ones."""

import random
from collections.abc import Iterator

TRICKY: dict[str, str | None] = {
    # other spellings of addresses: the host that is really asked for
    "http://127.1/": "127.0.0.1",
    "http://127.0.1/": "127.0.0.1",
    "http://0x7f.1/": "127.0.0.1",
    "http://0x7f000001/": "127.0.0.1",
    "http://0177.0.0.1/": "127.0.0.1",
    "http://017700000001/": "127.0.0.1",
    "http://2130706433/": "127.0.0.1",
    "http://127.0.0.1./": "127.0.0.1",
    "http://0/": "0.0.0.0",
    "http://0x0/": "0.0.0.0",
    "http://169.254.169.254/": "169.254.169.254",
    "http://0xa9fea9fe/": "169.254.169.254",
    "http://0xa9.0xfe.0xa9.0xfe/": "169.254.169.254",
    "http://2852039166/": "169.254.169.254",
    "http://169.254.43518/": "169.254.169.254",
    "http://0251.0376.0251.0376/": "169.254.169.254",
    "http://%31%32%37.0.0.1/": "127.0.0.1",
    "http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/": "127.0.0.1",
    "http://\uff11\uff12\uff17.0.0.1/": "127.0.0.1",
    "http://127\u30020\uff0e0\uff611/": "127.0.0.1",
    "http://[::1]/": "::1",
    "http://[0:0:0:0:0:0:0:1]/": "::1",
    "http://[::ffff:127.0.0.1]/": "::ffff:7f00:1",
    "http://[::ffff:a9fe:a9fe]/": "::ffff:a9fe:a9fe",
    "http://[64:ff9b::a9fe:a9fe]/": "64:ff9b::a9fe:a9fe",
    "http://[2002:a9fe:a9fe::]/": "2002:a9fe:a9fe::",
    "http://[::]/": "::",
    # names: what is left of them
    "http://LOCALHOST/": "localhost",
    "http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3/": "localhost",
    "http://EXAMPLE.com/": "example.com",
    "http://ex\u00adample.com/": "example.com",
    "http://example\u3002com/": "example.com",
    "http://exa%6dple.com/": "example.com",
    "http://b\u00fccher.example/": "xn--bcher-kva.example",
    "http://\u0430pple.com/": "xn--pple-43d.com",
    "http://fa\u00df.example/": "xn--fa-hia.example",
    "http://example.com:80/": "example.com",
    "http://example.com:00080/": "example.com",
    "http://example.com:/": "example.com",
    "http://example.com?@evil.example/": "example.com",
    "http://example.com#@evil.example/": "example.com",
    "http://example.com/@evil.example/": "example.com",
    "http://example.com/?url=http://evil.example/": "example.com",
    "http://example.com:8080/": "example.com",
    # refused: readers disagree, or there is nothing to ask for
    "http://example.com@evil.example/": None,
    "http://example.com:80@evil.example/": None,
    "http://example.com:pw@evil.example/": None,
    "http://@example.com/": None,
    "http://:@example.com/": None,
    "http://a@b@example.com/": None,
    "http://example.com%40evil.example/": None,
    "http://example.com\\@evil.example/": None,
    "http://evil.example\\.example.com/": None,
    "http:\\\\example.com\\": None,
    "http:/\\example.com/": None,
    "http:example.com": None,
    "http:/example.com": None,
    "http:///example.com/": None,
    "http:////example.com/": None,
    "//example.com/": None,
    "example.com": None,
    "": None,
    " http://example.com/": None,
    "\x00http://example.com/": None,
    "ht\ntp://example.com/": None,
    "http://exa\tmple.com/": None,
    "http://example.com/\r\nHost: evil.example": None,
    "http://exam\x00ple.com/": None,
    "http://example.com%00.evil.example/": None,
    "http://example.com%0d%0aX: y/": None,
    "http://example.com%2f.evil.example/": None,
    "http://example.com./": None,
    "http://localhost./": None,
    "http://.example.com/": None,
    "http://example..com/": None,
    "http://*.example.com/": None,
    "http://exam ple.com/": None,
    "http://example.com:0/": None,
    "http://example.com:65536/": None,
    "http://example.com:-1/": None,
    "http://example.com:8a/": None,
    "http://1.2.3.4.5/": None,
    "http://256.256.256.256/": None,
    "http://0x100000000/": None,
    "http://[fe80::1%25eth0]/": None,
    "http://[fe80::1%eth0]/": None,
    "http://[::1/": None,
    "http://[v1.a]/": None,
    "http://\u202eexample.com/": None,
    "http://exam\u200bple.com\ud800/": None,
    "http://xn--/": "xn--",
    "http://" + "a" * 64 + ".com/": None,
    "http://" + "a." * 127 + "com/": None,
    "file:///etc/passwd": None,
    "ftp://example.com/": None,
    "gopher://127.0.0.1:25/_HELO": None,
    "javascript:alert(1)": None,
    "data:text/plain,x": None,
    "ws://example.com/": None,
    "unix:///var/run/docker.sock": None,
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/": None,
    "jar:http://example.com!/": None,
    "blob:http://example.com/": None,
}
"""URL, and the host that a right has to name; None is refused."""

PATHS: dict[str, str | None] = {
    "": "",
    "/": "",
    "/a": "a",
    "/a/": "a",
    "/a/b/../c": "a/c",
    "/a/%2e%2e/c": "c",
    "/a/.%2E/c": "c",
    "/a/./c": "a/c",
    "/a/%2e/c": "a/c",
    "/../../a": "a",
    "/a/b/..": "a",
    "/%61dmin": "admin",
    "/a%2eb": "a.b",
    "/%7euser": "~user",
    "/%C3%A9": "%C3%A9",
    "/%c3%a9": "%C3%A9",
    "/\u00e9": "%C3%A9",
    "/a b": "a%20b",
    "/a%20b": "a%20b",
    "/*": "%2A",
    "/%2a": "%2A",
    "/**": "%2A%2A",
    "/a%3fb": "a%3Fb",
    "/a?b/../c": "a",
    "/a#/../c": "a",
    "/x%28y%29": "x(y)",
    "/x(y)": "x(y)",
    "/100%25": "100%25",
    "/...": "...",
    "/a;v=1": "a;v=1",
    # refused: two readers could take it for two things
    "//": None,
    "//a": None,
    "/a//b": None,
    "/a//": None,
    "/a/%2e%2e//b": None,
    "/a%2fb": None,
    "/a%2Fb": None,
    "/..%2fb": None,
    "/%2e%2e%2fb": None,
    "/a%5cb": None,
    "/..%5Cb": None,
    "/a\\b": None,
    "/..\\b": None,
    "/a%00b": None,
    "/a%0d%0ab": None,
    "/a%7f": None,
    "/%252e%252e/b": None,
    "/a%252fb": None,
    "/%25%32%65": None,
    "/..;/b": None,
    "/.;x/b": None,
    "/..;a=1/b": None,
    "/%c0%ae%c0%ae/b": None,
    "/%e0%80%af": None,
    "/%ff": None,
    "/%": None,
    "/%2": None,
    "/%zz": None,
    "/%u002e": None,
    "/\uff0e\uff0e/b": None,
    "/%EF%BC%8E%EF%BC%8E/b": None,
    "/\u2025/b": None,
    "/a\uff0fb": None,
    "/a\uff3cb": None,
    "/\u2100": None,
    "/%C2%85": None,
}
"""Path of a URL, and what it is in the resource; None is refused."""

_GRANTED = ["api.example.com", "www.example.com", "localhost", "10.1.2.3"]
_HOSTS = [
    *_GRANTED, "api.example.com.evil.example", "evil.example", "evilexample.com", "example.com", "a.b.example.com",
    "inner.example.com", "rebind.example.com", "127.0.0.1", "127.1", "0x7f.1", "2130706433", "0", "10.1.2.4", "0x0a010203",
    "167838211", "012.1.2.3", "10.1.515", "169.254.169.254", "[::1]", "[::ffff:10.1.2.3]", "[::ffff:127.0.0.1]", "[fd00::1]",
    "[64:ff9b::a01:203]", "[2002:a01:203::]", "8.8.8.8", "224.0.0.1", "metadata", "API.Example.COM", "api\u3002example.com",
    "\u24d0pi.example.com", "*.example.com", "api.example.com.", "%61pi.example.com", "b\u00fccher.example.com", "localhost.", "a.localhost",
    "", ".", "..", "*",
]  # fmt: skip
_PORTS = [
    "",
    "",
    "",
    "",
    ":80",
    ":443",
    ":8080",
    ":8443",
    ":0",
    ":",
    ":22",
    ":99999",
    ":080",
    ":8080@evil.example",
]
_SCHEMES = ["http", "https", "HTTP", "hTTps", "ftp", "file", "ws", "http+unix", ""]
_SEPARATORS = ["://", "://", "://", "://", "://", "://", ":/", ":", ":\\\\", ":///", "//", ":/\\"]
_USERS = [
    "",
    "",
    "",
    "",
    "",
    "",
    "api.example.com@",
    "u:p@",
    "@",
    "api.example.com:80\\@",
    "api.example.com%40",
]
_SEGMENTS = [
    "v1", "v1", "app", "app", "public", "public", "admin", "secret", "v1evil", "..", ".", "", "%2e%2e", ".%2e", "%2E.", "..;", "..%2f",
    "%2f", "%5c", "..%5c..", "\\..", "%252e%252e", "%c0%ae%c0%ae", "\uff0e\uff0e", "\u2025", "%00", "%0d%0a", "v1%2f..%2fadmin", "%76%31", "*", "**",
    "%2a", "\u00e9", "a b", "x;y=1", "~u", "%7eu", "%ff", "%", "...", "%u002e", "a?b", "a#b",
]  # fmt: skip
_PLAIN = ["v1", "app", "public", "a", "x.html", "42"]
_TAILS = [
    "",
    "",
    "",
    "/",
    "?q=1",
    "?next=http://evil.example/",
    "#f",
    "?../../x",
    "/?",
    "#/../..",
    "?\\",
    "?a b",
    "?\u00e9",
]
_ODD = [
    "\t",
    "\n",
    "\r",
    "\0",
    " ",
    "\\",
    "/",
    "@",
    "#",
    "?",
    "%",
    ":",
    ".",
    "..",
    "\u3002",
    "\u200b",
    "\u202e",
    "[",
    "]",
    "*",
    "%00",
    "%2f",
    "\uff0f",
    "\ud800",
]
_LIKELY = [
    "http://localhost:8080/app",
    "https://api.example.com/v1",
    "http://www.example.com/public",
    "http://10.1.2.3",
]


def generated(seed: int) -> Iterator[str]:
    """URLs near the granted ones, for ever; the same ones for the same seed."""
    source = random.Random(seed)
    pick = source.choice
    while True:
        segments = [pick(_SEGMENTS if source.random() < 0.4 else _PLAIN) for _ in range(source.randint(0, 4))]
        if source.random() < 0.5:
            url = "/".join([pick(_LIKELY), *segments]) + pick(_TAILS)
        else:
            start = pick(_SCHEMES[:4] if source.random() < 0.9 else _SCHEMES)
            path = "".join(f"/{segment}" for segment in segments)
            url = f"{start}{pick(_SEPARATORS)}{pick(_USERS)}{pick(_HOSTS)}{pick(_PORTS)}{path}{pick(_TAILS)}"
        for _ in range(source.choice([0, 0, 0, 0, 0, 1, 1, 2])):
            at = source.randint(0, len(url))
            url = url[:at] + pick(_ODD) + url[at + source.choice([0, 0, 1]) :]
        yield url


_SITES = [
    "https://example.com", "https://api.github.com", "http://docs.python.org", "https://en.wikipedia.org", "https://shop.example.co.uk:8443",
    "https://b\u00fccher.example",
]  # fmt: skip
_PAGES = [
    "", "/", "/index.html", "/a/b/c", "/a/b/c/", "/robots.txt", "/favicon.ico", "/.well-known/openid-configuration",
    "/3/library/asyncio-task.html#asyncio.timeout", "/wiki/Python_(programming_language)", "/wiki/Caf%C3%A9", "/wiki/Z\u00fcrich",
    "/wiki/C%2B%2B", "/wiki/AC/DC", "/wiki/O'Reilly", "/wiki/Who_Framed_Roger_Rabbit%3F", "/wiki/%E6%97%A5%E6%9C%AC", "/wiki/Stra%C3%9Fe",
    "/repos/octocat/hello-world/issues?state=open&per_page=100&page=2", "/repos/octocat/hello-world/contents/src/main.py?ref=v1.0.0",
    "/repos/octocat/hello-world/compare/v1.0...v1.1", "/users/~jane/profile", "/%7Ejane/", "/search?q=hello+world", "/search?q=hello%20world",
    "/search?q=caf\u00e9&lang=fr", "/search?q=a%26b%3Dc", "/search?q=c%2B%2B", "/search?q=100%25", "/s?k=usb+c&rh=p_36%3A-5000",
    "/watch?v=dQw4w9WgXcQ&t=42s", "/maps/@52.5200,13.4050,12z", "/maps/place/Brandenburg+Gate/@52.51,13.37,17z/data=!3m1!4b1",
    "/package/@types/node", "/package/@types/node/v/20.1.0", "/simple/requests/", "/p/pypi/requests-2.31.0-py3-none-any.whl#sha256=abc",
    "/v1/charges/ch_3Ab/refunds", "/v2/library/alpine/manifests/latest", "/v2/library/alpine/blobs/sha256:9fc1", "/api/v3/users/42?fields=id,name",
    "/api/items(42)/name", "/odata/Products?$filter=Price%20lt%2010&$top=5", "/graphql?query=%7Bme%7Bid%7D%7D", "/rest/api/2/search?jql=project%3DX",
    "/oauth/authorize?client_id=1&redirect_uri=https%3A%2F%2Fapp.example%2Fcb&scope=a%20b", "/login?next=/home", "/r?u=https://other.example/x",
    "/2024/05/17/a-long-title-of-a-post/", "/2024/05/17/what%E2%80%99s-new/", "/feed.xml", "/rss?format=atom", "/sitemap.xml.gz",
    "/img/a%20picture%20(1).png", "/img/a picture.png", "/img/logo@2x.png", "/img/100x100/abc.jpg?w=10&h=20", "/static/js/main.3f2a.js",
    "/static/css/site.css?v=1.2.3", "/fonts?family=Roboto:wght@400;700", "/file.tar.gz", "/file-1.0_beta+build.5.zip", "/a,b,c/d;v=1/e=2",
    "/item/12345.html?utm_source=x&utm_medium=y#reviews", "/forum/viewtopic.php?f=2&t=10#p99", "/cgi-bin/query?a=1;b=2", "/page?", "/page?a",
    "/page?a=&b=", "/page?a[]=1&a[]=2", "/page?a%5B0%5D=1", "/page#", "/page#!/route", "/page?json={\"a\":1}", "/page?re=\\d+",
    "/browse/PROJ-123", "/d/1AbC_dEf-GhI/edit#gid=0", "/t/5f3/comments/xyz/_/", "/dp/B08N5WRWNW/ref=sr_1_1", "/news/story-1.2345678",
    "/questions/11227809/why-is-it-faster", "/a/11227902", "/doi/10.1000/182", "/abs/2101.00001v2", "/pdf/2101.00001.pdf",
    "/weather?lat=52.52&lon=13.40&units=metric", "/data/2.5/forecast?id=524901&appid=KEY", "/time/2024-05-17T10:00:00Z", "/$metadata", "/!important",
    "/&amp", "/a'b", "/user:42", "/user:42/posts", "/v1/projects/p/topics/t:publish", "/bucket/key%20with%20spaces.txt?X-Amz-Signature=ab%2Fcd",
    "/blob/main/README.md?plain=1#L10-L20", "/tree/feature-x/src", "/raw/v1.0/file", "/..hidden", "/...",
]  # fmt: skip
_REST = [
    "http://localhost:8080/health", "http://127.0.0.1:5000/api", "http://[::1]:3000/", "http://192.168.1.10/status", "https://1.1.1.1/dns-query?name=a",
    "https://[2606:4700:4700::1111]/dns-query", "http://example.com:80/", "https://example.com:443/x", "HTTPS://EXAMPLE.COM/Path",
    "https://sub.sub2.example.com/", "https://xn--bcher-kva.example/", "https://my_host.example.com/", "https://a-b.example/", "http://intranet/",
    # known to be refused, and rare enough: an encoded slash, a URL within a path
    "https://gitlab.com/api/v4/projects/group%2Fproject/issues", "https://packages.example.org/@types%2Fnode",
    "https://web.archive.org/web/2020/https://example.com/", "https://example.com//double",
]  # fmt: skip


def ordinary() -> list[str]:
    """URLs as people write them; more than 500."""
    return [site + page for site in _SITES for page in _PAGES] + _REST
