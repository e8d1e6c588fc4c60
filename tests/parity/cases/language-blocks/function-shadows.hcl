G = "g"
function "f" {
  params = [G]
  result = G
}
target "default" {
  args = {
    v = f("p")
  }
}
