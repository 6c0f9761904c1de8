"""One thing breaks at a time; the account (manifest, feed) is compared with what the test knows to be true."""
