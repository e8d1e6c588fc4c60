G = "g"
function "f" {
  params = []
  result = G
}
target "default" {
  args = {
    v = f()
  }
}
