target "app" {
 matrix = {a=setunion(["p"],["q","p"])}
 name="x${a}"
}
