target "b" {
 tags=["1"]
 dockerfile = NOPE
}
target "default" {
  args = {
    v = target.b.tags[0]
  }
}
