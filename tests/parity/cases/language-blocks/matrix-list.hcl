target "app" {
 matrix = {a=[["1","p"],["2","q"]]}
 name="x${a[0]}"
 args={v=a[1]}
}
