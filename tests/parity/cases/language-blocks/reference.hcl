target "b" {
 tags=["x"]
 dockerfile="D"
}
target "default" {
  args = {
    v = "${target.b.dockerfile}-${target.b.tags[0]}-${target.b.name}"
  }
}
