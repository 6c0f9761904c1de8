"""verify.html in the browsers of Debian, driven over their own sockets and pipes. By ``./check --browsers``."""
