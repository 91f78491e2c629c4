"""One HTML file that shows the committed run and classifies what is drawn on it, with no network.

`results.py` computes what the page says of the run, `commit.py` asks git, `__main__.py` puts both
into `page.html`, and `node.py` tries the result. `style.css` and the scripts go into the page as
they are here. `network.js` is the network, and `prepare.js` makes an MNIST image of a drawing.
`pad.js` is the canvas to draw on. `confusion.js` shows the images behind a cell of the confusion
matrix.
"""
