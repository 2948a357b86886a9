"""Says who asks, then whatever is said to it."""
import socket, threading
def serve(stream, peer):
    stream.sendall((peer[0] + "\n").encode())
    while data := stream.recv(999):
        stream.sendall(data)
server = socket.create_server(("0.0.0.0", 80))
while True:
    threading.Thread(target=serve, args=server.accept(), daemon=True).start()
