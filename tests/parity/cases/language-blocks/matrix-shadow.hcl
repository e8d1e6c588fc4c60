G="g"
target "app" {
 matrix = {G=["1"]}
 name="x${G}"
 args={v=G}
}
