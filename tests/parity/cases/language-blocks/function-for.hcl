function "a" {
 params=[l]
 result=[for x in l : upper(x)]
}
target "default" {
  args = {
    v = join(",", a(["x","y"]))
  }
}
