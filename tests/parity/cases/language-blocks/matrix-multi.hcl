target "app" {
  name = "app-${a}-${b}-${c}"
  matrix = {
    c = ["1"]
 a = ["2","3"]
 b = [4,5,6]
 }
 args = { x = "${a}${b}${c}" }
}
