function "upper" {
 params=[]
  result = NOPE
}
target "default" {
  args = {
    v = upper("a")
  }
}
