target "default" {
  matrix = {
    z = ["k"]
    y = ["l", "m"]
    x = ["n", "o", "p"]
  }
  name = "${z}-${y}-${x}"
}
