target "b" {
 tags=["1"]
}
target "b" {
 dockerfile="x"
}
target "default" {
  args = {
    v = target.b.dockerfile
  }
}
