target "app" {
  name = "app-${tgt}"
  matrix = {
    tgt = ["foo", "bar"]
  }
  args = {
    t = tgt
  }
  target = tgt
}
target "default" {
  args = {
    v = target.app-foo.args.t
  }
}
