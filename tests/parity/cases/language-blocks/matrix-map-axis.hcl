target "app" {
 matrix = {a={x="1",y="2"}}
 name="x${a}"
}
