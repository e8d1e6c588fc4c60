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
group "app" { targets=["app-foo"] }
