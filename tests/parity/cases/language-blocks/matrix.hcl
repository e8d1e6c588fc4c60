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
